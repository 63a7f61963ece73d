"""HTTP/1.1 on sockets: requests of clients come in, answers of engines go out, and nothing is known of endpoints.

Parsing is llhttp's (`httptools`), strict as it comes; what lies between two parsers and two transports is here, because
a general server and a general client cost more per request than everything else a gateway does (docs/decisions/0010).
"""
