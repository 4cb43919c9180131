"""
How atbus speaks: messages, their bytes, and the frames they travel in.

`messages` are values; `schema` is the normative layout (wire protocol, docs/reference);
`codec` is the fast road for what is sent often; `framing` cuts a stream into frames. Nothing here
opens a socket or reads a clock.
"""
