"""moto_server.py PORT: moto's S3, which answers one request at a time, as it must: with threads, two of several writers sometimes win the same create. But
each is read by a thread of its own first: a client that stands still in the middle of one stops nobody else."""

import sys
import threading
from io import BytesIO

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class OneAtATime:
    def __init__(self, app):
        self.app, self.turn = app, threading.Lock()

    def __call__(self, environ, start_response):
        length = environ.get("CONTENT_LENGTH")
        chunked = environ.get("wsgi.input_terminated")
        body = environ["wsgi.input"].read() if chunked else environ["wsgi.input"].read(int(length or 0))
        environ["wsgi.input"] = BytesIO(body)
        if not chunked and len(body) < int(length or 0):
            # Who asked is dead: half a request is none.
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        with self.turn:
            answer = self.app(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                getattr(answer, "close", lambda: None)()


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), OneAtATime(DomainDispatcherApplication(create_backend_app)), threaded=True)
