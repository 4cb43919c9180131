"""
The bus itself as a registry: no server is needed.

- `atbus.discovery.bus.board`: the documents that this node knows, and who wants to hear of them;
- `atbus.discovery.bus.announcer`: what a node says of itself there;
- `atbus.discovery.bus.records`: what others say of themselves there.

`atbus.routing.offers` decides what neighbors tell each other; `atbus.node.service_talk` brings that
to the links.
"""
