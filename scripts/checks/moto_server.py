"""moto_server.py PORT: moto's S3, which answers one request at a time, as it must: with threads, two of several writers sometimes win the same create. But
each is read by a thread of its own first: a client that stands still in the middle of one stops nobody else. `PUT /-/room?BYTES` leaves so many bytes to be
written; what has no room then is answered as Ceph does where a quota is exceeded. `DELETE /-/room` makes room."""

import sys
import threading
from io import BytesIO

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


FULL = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>QuotaExceeded</Code></Error>'


class OneAtATime:
    def __init__(self, app):
        self.app, self.turn, self.room = app, threading.Lock(), None

    def __call__(self, environ, start_response):
        length = environ.get("CONTENT_LENGTH")
        chunked = environ.get("wsgi.input_terminated")
        body = environ["wsgi.input"].read() if chunked else environ["wsgi.input"].read(int(length or 0))
        environ["wsgi.input"] = BytesIO(body)
        if not chunked and len(body) < int(length or 0):
            # Who asked is dead: half a request is none.
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        method = environ["REQUEST_METHOD"]
        with self.turn:
            if environ["PATH_INFO"] == "/-/room":
                self.room = int(environ["QUERY_STRING"]) if method == "PUT" else None
                start_response("200 OK", [("Content-Length", "0")])
                return [b""]
            if method == "PUT" and self.room is not None:
                if len(body) > self.room:
                    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(FULL)))])
                    return [FULL]
                self.room -= len(body)
            answer = self.app(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                getattr(answer, "close", lambda: None)()


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), OneAtATime(DomainDispatcherApplication(create_backend_app)), threaded=True)
