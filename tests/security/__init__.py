"""Each attack of docs/design/security.rst, tried; the tests there are named for its rows."""
