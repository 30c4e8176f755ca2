// Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.
//
// The line in `begin` stands where the answer begins; in a servlet it is
// `response.setHeader(...)` in a wrapper of the response. Around it is a service with two handlers, of
// which one has lost its scope: `java Echo.java PORT`.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

public class Echo {
    // What the data layer filters by.
    static final ThreadLocal<String> TENANT = new ThreadLocal<>();

    // Called when the answer begins: what the handler worked with, not what it was asked for.
    static void begin(HttpExchange exchange, int status, int length) throws IOException {
        var requestId = Objects.toString(exchange.getRequestHeaders().getFirst("x-request-id"), "");
        exchange.getResponseHeaders().set("x-tenant-echo", TENANT.get() + ";" + requestId);
        exchange.sendResponseHeaders(status, length);
    }

    static void service(HttpExchange exchange) throws IOException {
        TENANT.set(exchange.getRequestHeaders().getFirst("x-tenant-id"));
        if (exchange.getRequestURI().getPath().equals("/lost")) {
            TENANT.set("globex");
        }
        var body = ("orders of " + TENANT.get()).getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("content-type", "text/plain");
        begin(exchange, 200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 0);
        server.createContext("/", Echo::service);
        server.start();
    }
}
