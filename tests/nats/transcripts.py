"""
What nats-server answers, as it was heard of 2.9: scripts of clients and every byte that came back.

A script is what one client sends after INFO has come; the answer is all that follows INFO. Those
that end with `EOF` were closed by the server.
"""

from __future__ import annotations

from typing import Final, NamedTuple

EOF: Final = b"<EOF>"

#: How most clients begin.
QUIET: Final = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
)
BARE: Final = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
STRICT: Final = b'CONNECT {"verbose":true,"pedantic":true}\r\n'

UNKNOWN: Final = b"-ERR 'Unknown Protocol Operation'\r\n" + EOF
TOO_LONG: Final = b"-ERR 'maximum control line exceeded'\r\n" + EOF
NOT_ALLOWED: Final = b"-ERR 'Authorization Violation'\r\n" + EOF
#: Where somebody has to say who he is.
LOGIN: Final = b'CONNECT {"verbose":false,"user":"u","pass":"p"}\r\n'
HEADER: Final = b"NATS/1.0\r\n\r\n"


class Transcript(NamedTuple):
    """One conversation."""

    name: str
    says: bytes
    hears: bytes


TRANSCRIPTS: Final = (
    Transcript("ping", b"PING\r\n", b"PONG\r\n"),
    Transcript("lower case and a bare line feed", b"ping\n", b"PONG\r\n"),
    Transcript("an open server asks for no CONNECT", b"PUB a 2\r\nhi\r\n", b"+OK\r\n"),
    Transcript("blanks of any length", QUIET + b"SUB a 1\r\nPUB a   r  2  \r\nhi\r\nPING\r\n",
        b"MSG a 1 r 2\r\nhi\r\nPONG\r\n"),
    Transcript("tabs", QUIET + b"SUB\ta\t1\r\nPUB\ta\t2\r\nhi\r\nPING\r\n",
        b"MSG a 1 2\r\nhi\r\nPONG\r\n"),
    Transcript("a blank in front", QUIET + b"  PING\r\n", UNKNOWN),
    Transcript("an empty line", QUIET + b"\r\nPING\r\n", UNKNOWN),
    Transcript("an empty token", QUIET + b"SUB a..b 1\r\nPING\r\n",
        b"-ERR 'Invalid Subject'\r\nPONG\r\n"),
    Transcript("the rest in the middle", QUIET + b"SUB foo.>.bar 1\r\nPING\r\n",
        b"-ERR 'Invalid Subject'\r\nPONG\r\n"),
    Transcript("SUB of one word", QUIET + b"SUB a\r\nPING\r\n", EOF),
    Transcript("SUB of no word", QUIET + b"SUB  \r\nPING\r\n", EOF),
    Transcript("SUB alone", QUIET + b"SUB\r\nPING\r\n", UNKNOWN),
    Transcript("SUB of four words", QUIET + b"SUB a q 1 z\r\nPING\r\n", EOF),
    Transcript("UNSUB alone", QUIET + b"UNSUB\r\nPING\r\n", UNKNOWN),
    Transcript("UNSUB of what is not there", QUIET + b"UNSUB 1 x\r\nPING\r\n", b"PONG\r\n"),
    Transcript("UNSUB after what is no number",
        QUIET + b"SUB a 1\r\nUNSUB 1 x\r\nPUB a 0\r\n\r\nPING\r\n", b"PONG\r\n"),
    Transcript("UNSUB after none", QUIET + b"SUB a 1\r\nUNSUB 1 0\r\nPUB a 0\r\n\r\nPING\r\n",
        b"PONG\r\n"),
    Transcript("UNSUB counts from the begin",
        QUIET + b"SUB a 1\r\nPUB a 0\r\n\r\nPUB a 0\r\n\r\nUNSUB 1 2\r\nPUB a 0\r\n\r\nPING\r\n",
        b"MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("UNSUB after two",
        QUIET + b"SUB a 1\r\nUNSUB 1 2\r\n" + 3 * b"PUB a 0\r\n\r\n" + b"PING\r\n",
        b"MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("a second SUB of one sid",
        QUIET + b"SUB a 1\r\nSUB b 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\nPING\r\n",
        b"MSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("a negative size", QUIET + b"PUB a -1\r\n\r\n", EOF),
    Transcript("a size of ten digits", QUIET + b"PUB a 1234567890\r\n", EOF),
    Transcript("zeros in front are digits", QUIET + b"PUB a 0000000002\r\n", EOF),
    Transcript("a size with a sign", QUIET + b"PUB a +2\r\n", EOF),
    Transcript("UNSUB after a number with a zero",
        QUIET + b"SUB a 1\r\nUNSUB 1 02\r\n" + 3 * b"PUB a 0\r\n\r\n" + b"PING\r\n",
        b"MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("a sid with a zero is another one",
        QUIET + b"SUB a 01\r\nUNSUB 1\r\nPUB a 0\r\n\r\nPING\r\n",
        b"MSG a 01 0\r\n\r\nPONG\r\n"),
    Transcript("a size that is too large", QUIET + b"PUB a 2000000\r\n",
        b"-ERR 'Maximum Payload Violation'\r\n" + EOF),
    Transcript("PUB of one word", QUIET + b"PUB  2\r\nhi\r\nPING\r\n", EOF),
    Transcript("PUB of four words", QUIET + b"PUB a b c 2\r\nhi\r\nPING\r\n", EOF),
    Transcript("more than the size", QUIET + b"PUB a 2\r\nhiX\r\n", UNKNOWN),
    Transcript("a payload ends with both", QUIET + b"PUB a 2\r\nhi\nPING\r\n", UNKNOWN),
    Transcript("a line may end with one", QUIET + b"PUB a 2\nhi\r\nPING\r\n", b"PONG\r\n"),
    Transcript("an unknown verb", QUIET + b"FOO\r\n", UNKNOWN),
    Transcript("an unknown verb, not ended", QUIET + b"PIX", UNKNOWN),
    Transcript("something behind PING", QUIET + b"PING x\r\nPINGX\r\n", b"PONG\r\nPONG\r\n"),
    Transcript("PONG", QUIET + b"PONG\r\nPING\r\n", b"PONG\r\n"),
    Transcript("what servers say", QUIET + b"+OK\r\nINFO {}\r\nPING\r\n", b"PONG\r\n"),
    *(Transcript(f"INFO that is none: {said!r}", QUIET + b"INFO" + said + b"\r\nPING\r\n", EOF)
      for said in (
        *(b"", b" ", b" x", b" []", b" 5", b" {} x", b"1", b' {"port":"1"}', b' {"PORT":1.5}'),
        *(b' {"proto":true}', b' {"max_payload":2147483648}', b' {"client_id":-1}'),
        *(b' {"ldm":1}', b' {"nonce":5}', b' {"connect_urls":"a"}', b' {"connect_urls":[5]}'),
        *(b' {"import":[]}', b' {"export":{"deny":5}}', b' {"gateway_cmd":256}', b' {"x":\xff}'),
      )),
    *(Transcript(f"INFO that nobody minds: {said!r}",
        QUIET + b"INFO" + said + b"\r\nPING\r\n", b"PONG\r\n")
      for said in (
        *(b" null", b'{"x":5}', b' {"port":null,"name":5}', b' {"proto":-1,"client_id":1}'),
        *(b' {"ldm":true,"connect_urls":["a",null]}', b' {"x":"\xff","nonce":"\xff"}'),
        *(b' {"import":{"allow":["a"]}}', b' {"max_payload":-2147483648,"gateway_cmd":255}'),
      )),
    Transcript("an error of the client", QUIET + b"-ERR 'x'\r\nPING\r\n", EOF),
    Transcript("MSG", QUIET + b"MSG a 1 2\r\nhi\r\n", UNKNOWN),
    Transcript("verbs of routes", QUIET + b"RS+ a\r\n", UNKNOWN),
    Transcript("verbs of leaves", QUIET + b"LS+ a\r\n", UNKNOWN),
    Transcript("HTTP", b"GET / HTTP/1.1\r\n\r\n", UNKNOWN),
    Transcript("CONNECT that is no JSON", b"CONNECT {bad\r\n", EOF),
    Transcript("CONNECT of nothing", b"CONNECT\r\n", EOF),
    Transcript("CONNECT of an empty object", b"CONNECT {}\r\nPING\r\n", b"+OK\r\nPONG\r\n"),
    Transcript("CONNECT with names in any case", b'CONNECT {"VERBOSE":false}\r\nPUB a 0\r\n\r\n',
        b""),
    Transcript("CONNECT with a wrong type", b'CONNECT {"verbose":1}\r\n', EOF),
    Transcript("a protocol of the future", b'CONNECT {"protocol":5}\r\n',
        b"-ERR 'invalid client protocol'\r\n" + EOF),
    Transcript("no_responders without headers", b'CONNECT {"no_responders":true}\r\n',
        b"-ERR 'no responders requires headers support'\r\n" + EOF),
    Transcript("an account", b'CONNECT {"lang":"x","account":"b"}\r\nPING\r\n',
        b"-ERR 'Authorization Violation'\r\n" + EOF),
    Transcript("pedantic", STRICT + b"SUB a.* 1\r\nPUB a.* 2\r\nhi\r\nPING\r\nPUB a..b 0\r\n\r\n",
        b"+OK\r\n+OK\r\n-ERR 'Invalid Publish Subject'\r\n+OK\r\nMSG a.* 1 2\r\nhi\r\nPONG\r\n"
        b"-ERR 'Invalid Publish Subject'\r\n+OK\r\n"),
    *(Transcript(f"pedantic, and {name}", STRICT + said, hears) for name, said, hears in (
        ("no end of the payload", b"PUB a.* 2\r\nhixx",
            b"+OK\r\n-ERR 'Invalid Publish Subject'\r\n" + UNKNOWN),
        ("no end behind a reply", b"PUB a..b r.* 2\r\nhi\nPING\r\n",
            b"+OK\r\n-ERR 'Invalid Publish Subject'\r\n" + UNKNOWN),
        ("no end, but a subject", b"PUB a r.* 2\r\nhixx", b"+OK\r\n" + UNKNOWN),
        ("too long a payload", b"PUB a.* 2000000\r\n",
            b"+OK\r\n-ERR 'Maximum Payload Violation'\r\n" + EOF),
        ("no size", b"PUB a.* x\r\n", b"+OK\r\n" + EOF),
    )),
    Transcript("pedantic, and no end of the headers",
        b'CONNECT {"verbose":false,"headers":true}\r\nHPUB a.* 12 12\r\n' + HEADER + b"xx",
        b"-ERR 'Invalid Publish Subject'\r\n" + UNKNOWN),
    Transcript("verbose",
        b'CONNECT {"verbose":true,"pedantic":false}\r\nSUB a 1\r\nSUB b 1\r\nUNSUB 7\r\n'
        b"PUB a 0\r\n\r\nPING\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\nMSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("everything", QUIET + b"SUB > 1\r\nPUB a..b 0\r\n\r\nPUB .a 0\r\n\r\n"
        b"PUB a 0\r\n\r\nPUB > 0\r\n\r\nPING\r\n", b"MSG a 1 0\r\n\r\nMSG > 1 0\r\n\r\nPONG\r\n"),
    Transcript("letters that are wildcards elsewhere",
        QUIET + b"SUB foo*.bar 1\r\nPUB foo*.bar 0\r\n\r\nPUB foox.bar 0\r\n\r\nPING\r\n",
        b"MSG foo*.bar 1 0\r\n\r\nPONG\r\n"),
    Transcript("the rest is one token or more",
        QUIET + b"SUB a.> 1\r\nPUB a 0\r\n\r\nPUB a.b.c 0\r\n\r\nPING\r\n",
        b"MSG a.b.c 1 0\r\n\r\nPONG\r\n"),
    Transcript("headers", QUIET + b"SUB a 1\r\nHPUB a 12 14\r\n" + HEADER + b"hi\r\n",
        b"HMSG a 1 12 14\r\n" + HEADER + b"hi\r\n"),
    Transcript("headers and a reply", QUIET + b"SUB a 1\r\nHPUB a r 12 12\r\n" + HEADER + b"\r\n",
        b"HMSG a 1 r 12 12\r\n" + HEADER + b"\r\n"),
    Transcript("a header larger than everything",
        QUIET + b"HPUB a 15 14\r\n" + HEADER + b"hi\r\n", EOF),
    Transcript("headers from who knows none", BARE + b"HPUB a 12 14\r\n" + HEADER + b"hi\r\n",
        EOF),
    *(Transcript(f"headers from who knows none, and {name}", BARE + said, EOF)
      for name, said in (
        ("nothing more", b"HPUB a 12 14\r\n"), ("no end", b"HPUB a 0 0\r\nxx"),
        ("no size", b"HPUB a x\r\n"), ("too much", b"HPUB a 0 2000000\r\n"),
      )),
    Transcript("headers that are known from then on",
        BARE + QUIET + b"SUB a 1\r\nHPUB a 12 12\r\n" + HEADER + b"\r\n"
        + BARE + b'PING\r\nCONNECT {"headers":false,"no_responders":false}\r\nHPUB a 12 12\r\n',
        b"HMSG a 1 12 12\r\n" + HEADER + b"\r\nPONG\r\n" + EOF),
    Transcript("nobody there", QUIET + b"SUB r 9\r\nPUB a r 2\r\nhi\r\n",
        b"HMSG r 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
    Transcript("nobody there, and nobody who asks", QUIET + b"PUB a r 2\r\nhi\r\nPING\r\n",
        b"PONG\r\n"),
    Transcript("nobody there, and somebody who does not want to know",
        b'CONNECT {"verbose":false,"headers":true}\r\nSUB r 9\r\nPUB a r 2\r\nhi\r\nPING\r\n',
        b"PONG\r\n"),
    Transcript("nobody there, and a group that asks",
        QUIET + b"SUB r q 9\r\nPUB a r 2\r\nhi\r\nPING\r\n", b"PONG\r\n"),
    Transcript("no echo",
        b'CONNECT {"echo":false,"verbose":false,"headers":true,"no_responders":true}\r\n'
        b"SUB a 1\r\nSUB r 2\r\nPUB a r 0\r\n\r\nPING\r\n",
        b"HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPONG\r\n"),
    Transcript("options stay",
        b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
        b'CONNECT {"echo":false}\r\nSUB a 1\r\nPUB a 0\r\n\r\nPING\r\n', b"PONG\r\n"),
    Transcript("a line of the greatest length",
        QUIET + b"SUB " + b"a" * 250 + b" " + b"1" * 3845 + b"\r\nPING\r\n", b"PONG\r\n"),
    Transcript("a line that is too long", QUIET + b"SUB " + b"a" * 5000 + b" 1\r\n",
        b"-ERR 'maximum control line exceeded'\r\n" + EOF),
    Transcript("a line that is too long, not ended", QUIET + b"SUB " + b"a" * 5000,
        b"-ERR 'maximum control line exceeded'\r\n" + EOF),
    *(Transcript(f"a name that is no text: {name!r}",
        b'CONNECT {"verbose":false,"name":"' + name + b'","' + name + b'":1}\r\nPING\r\n',
        b"PONG\r\n")
        for name in (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")),
    *(Transcript(f"CONNECT with {value!r}", b'CONNECT {"x":' + value + b"}\r\n", EOF)
        for value in (b"NaN", b"Infinity", b"-Infinity", b"\xff", b"1}\xff")),
    *(Transcript(f"CONNECT that is wrong in {said!r}", b"CONNECT {" + said + b"}\r\nPING\r\n", EOF)
      for said in (
        *(b'"name":5,"name":"b"', b'"NAME":5,"name":"b"', b'"u\xc5\xbfer":5', b'"name":{}'),
        *(b'"import":5', b'"export":[]', b'"Import":{"allow":"a"}', b'"import":{"deny":["a",5]}'),
    )),
    *(Transcript(f"CONNECT with {said!r} that nobody minds",
        b'CONNECT {"verbose":true,' + said + b"}\r\nPING\r\n", b"+OK\r\nPONG\r\n")
      for said in (
        *(b'"verbose":null', b'"verbose":false,"VERBOSE":true', b'"verbo\xc5\xbfe":true'),
        *(b'"name":"\\ud800"', b'"import":null', b'"export":{"allow":["a",null],"x":5}'),
        *(b'"lang":null', b'"x":' + b"[" * 400 + b"]" * 400),
    )),
    Transcript("CONNECT behind a mark", b"CONNECT \xef\xbb\xbf{}\r\n", EOF),
    Transcript("a protocol beyond all numbers", b'CONNECT {"protocol":9223372036854775808}\r\n',
        EOF),
    Transcript("the last protocol", b'CONNECT {"protocol":9223372036854775807}\r\n',
        b"-ERR 'invalid client protocol'\r\n" + EOF),
    *(Transcript(f"{verb} of any length",
        QUIET + verb.encode() + b" " + b"x" * 5000 + b"\r\nPING\r\n", hears)
        for verb, hears in (("PING", b"PONG\r\nPONG\r\n"), ("PONG", b"PONG\r\n"),
            ("+OK", b"PONG\r\n"))),
    *(Transcript(f"{verb} that is too long{name}",
        QUIET + verb.encode() + b" " + b"x" * 5000 + end, TOO_LONG)
        for verb in ("INFO", "-ERR") for name, end in (("", b"\r\n"), (", not ended", b""))),
    Transcript("no -ERR, in any length", QUIET + b"-ERR" + b"x" * 5000, UNKNOWN),
    Transcript("a form feed in a sid", QUIET + b"SUB a x\fy\r\nPUB a 0\r\n\r\nPING\r\n",
        b"MSG a x\fy 0\r\n\r\nPONG\r\n"),
    Transcript("a vertical tab behind a sid",
        QUIET + b"SUB a 1\r\nUNSUB 1\v\r\nPUB a 0\r\n\r\nPING\r\n", b"MSG a 1 0\r\n\r\nPONG\r\n"),
    Transcript("a form feed behind a size", QUIET + b"PUB a 0\f\r\n\r\n", EOF),
    Transcript("a CR in front of a size", QUIET + b"PUB a\r0\r\n\r\n", EOF),
    Transcript("a CR behind a size", QUIET + b"PUB a 0\r\r\n\r\n", EOF),
    Transcript("a CR in front of a sid", QUIET + b"SUB a\r1\r\nPUB a 0\r\n\r\nPING\r\n",
        b"MSG a 1 0\r\n\r\nPONG\r\n"),
    *(Transcript(f"LF in front of {name}", QUIET + says + b"PING\r\n", hears)
      for name, says, hears in (
        ("an argument", b"SUB \n a 1\nPUB a 0\r\n\r\nUNSUB\t\n1\r\nPUB a 0\r\n\r\n",
            b"MSG a 1 0\r\n\r\nPONG\r\n"),
        ("options", b'CONNECT\n{"echo":false}\r\nSUB a 1\r\nPUB a 0\r\n\r\nINFO\n\n{}\r\n', EOF),
        ("INFO", b"INFO\n{}\r\n", b"PONG\r\n"), ("nothing", b"PUB \n", EOF),
        ("a size", b"PUB \n0\r\n\r\n", EOF), ("no INFO", b"INFO\n\r\n", EOF),
      )),
    *(Transcript(f"CR in {says!r}", QUIET + says + b"PING\r\n", hears) for says, hears in (
        (b"SUB a\r1x\nPUB a 0\r\n\r\n", b"MSG a 1 0\r\n\r\nPONG\r\n"),
        (b"SUB a\r1\n", EOF), (b"UNSUB 1 1\r\x85\n", b"PONG\r\n"),
        (b"UNSUB \r1\n", b"PONG\r\n"), (b"UNSUB \r1 2 \n", b"PONG\r\n"),
        (b"PUB a 0\r1\n\r\n", EOF), (b"PUB a 01\r\n\r\n", UNKNOWN), (b"PUB a\r 0\n\r\n", EOF),
    )),
    Transcript("a queue of two patterns",
        QUIET + b"SUB w.* g 1\r\nSUB w.x g 1\r\nPUB w.x 0\r\n\r\nPING\r\n",
        b"MSG w.x 1 0\r\n\r\nPONG\r\n"),
    Transcript("UNSUB behind what was published",
        QUIET + b"SUB a 1\r\n" + 3 * b"PUB a 0\r\n\r\n" + b"UNSUB 1 2\r\n",
        3 * b"MSG a 1 0\r\n\r\n"),
    Transcript("UNSUB at once behind what was published",
        QUIET + b"SUB a 1\r\nPUB a r 0\r\n\r\nUNSUB 1\r\nPUB a 0\r\n\r\n", b"MSG a 1 r 0\r\n\r\n"),
    Transcript("UNSUB behind a question that nobody got",
        QUIET + b"SUB r 1\r\nPUB nobody r 0\r\n\r\nUNSUB 1\r\n",
        b"HMSG r 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
    Transcript("SUB behind a question that nobody got",
        QUIET + b"PUB nobody r 0\r\n\r\nSUB r 1\r\n", b""),
    Transcript("a sid that is used again behind what was published",
        QUIET + b"SUB a 1\r\nPUB a 0\r\n\r\nUNSUB 1\r\nSUB b 1\r\nPUB a 0\r\n\r\nPUB b 0\r\n\r\n",
        b"MSG a 1 0\r\n\r\nMSG b 1 0\r\n\r\n"),
    Transcript("no echo from then on",
        QUIET + b'SUB a 1\r\nPUB a 0\r\n\r\nCONNECT {"echo":false}\r\nPUB a 0\r\n\r\n',
        b"MSG a 1 0\r\n\r\n"),
    Transcript("no headers from then on",
        QUIET + b"SUB a 1\r\nHPUB a 12 12\r\n" + HEADER + b"\r\n"
        b'CONNECT {"headers":false,"no_responders":false}\r\n',
        b"HMSG a 1 12 12\r\n" + HEADER + b"\r\n"),
    Transcript("what was published before an error",
        QUIET + b"SUB a 1\r\nPUB a 2\r\nhi\r\nPUB a x\r\n", b"MSG a 1 2\r\nhi\r\n" + EOF),
    Transcript("a question that nobody got before an error",
        QUIET + b"SUB r 1\r\nPUB nobody r 0\r\n\r\nFOO\r\n",
        b"HMSG r 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" + UNKNOWN),
    Transcript("what was published before headers that are not known",
        BARE + b"SUB a 1\r\nPUB a 2\r\nhi\r\nHPUB a 12 12\r\n" + HEADER + b"\r\n",
        b"MSG a 1 2\r\nhi\r\n" + EOF),
)

#: The same of a server where everybody has to say that he is "u" with the password "p".
LOGIN_TRANSCRIPTS: Final = (
    *(Transcript(f"{begin.decode(errors='replace').strip()} first", begin + LOGIN, NOT_ALLOWED)
        for begin in (b"INFO {}\r\n", b"+OK\r\n", b"-ERR\r\n", b"PING\r\n", b"FOO\r\n", b"\r\n")),
    Transcript("one letter", b"P", NOT_ALLOWED),
    Transcript("no CONNECT", b"CX", UNKNOWN),
    Transcript("no CONNECT, but a PING", b"COPING\r\n", UNKNOWN),
    Transcript("a CONNECT that is too long", b"CONNECT " + b"x" * 5000 + b"\r\n", TOO_LONG),
    Transcript("a CONNECT that is too long, not ended", b"CONNECT " + b"x" * 5000, TOO_LONG),
    Transcript("a CONNECT that is no JSON", b"CONNECT {bad\r\n", EOF),
    Transcript("a CONNECT of nobody", b"CONNECT {}\r\nPING\r\n", NOT_ALLOWED),
    Transcript("what servers say, behind it", LOGIN + b"+OK\r\nINFO {}\r\nPING\r\n", b"PONG\r\n"),
    Transcript("no verb, behind it", LOGIN + b"PING\r\nCX", b"PONG\r\n" + UNKNOWN),
)

#: What a server repeats as it was written, and a gateway writes without the zeros.
ZEROS: Final = Transcript("zeros in front of sizes",
    QUIET + b"SUB a 1\r\nPUB a 02\r\nhi\r\nPUB a 000000002\r\nhi\r\nPUB a 00\r\n\r\n"
    b"HPUB a 012 014\r\n" + HEADER + b"hi\r\nPING\r\n",
    b"MSG a 1 02\r\nhi\r\nMSG a 1 000000002\r\nhi\r\nMSG a 1 00\r\n\r\n"
    b"HMSG a 1 012 014\r\n" + HEADER + b"hi\r\nPONG\r\n")
