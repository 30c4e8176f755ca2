"""Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.

`tenant_echo` wraps any WSGI application, so Django's and Flask's too. Below it is a service with two
handlers, of which one has lost its scope: `python3 echo.py PORT`.
"""

import sys
from contextvars import ContextVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

# What the data layer filters by.
tenant = ContextVar("tenant")


def tenant_echo(application):
    def wrapped(environ, start_response):
        # Read when the answer begins: what the handler worked with, not what it was asked for.
        def start(status, headers, *more):
            headers = [*headers, ("x-tenant-echo", f"{tenant.get()};{environ.get('HTTP_X_REQUEST_ID', '')}")]
            return start_response(status, headers, *more)

        return application(environ, start)

    return wrapped


@tenant_echo
def service(environ, start_response):
    tenant.set(environ.get("HTTP_X_TENANT_ID", ""))
    if environ["PATH_INFO"] == "/lost":
        tenant.set("globex")
    body = f"orders of {tenant.get()}".encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), service, handler_class=Quiet).serve_forever()
