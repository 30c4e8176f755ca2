<?php
// Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.
//
// `tenant_echo` belongs in the front controller, before the first handler. Below it is a service with
// two handlers, of which one has lost its scope: `php -S 127.0.0.1:PORT echo.php`.

// What the data layer filters by.
final class Scope
{
    public static string $tenant = '';
}

function tenant_echo(): void
{
    // Called when the answer begins: what the handler worked with, not what it was asked for.
    header_register_callback(function (): void {
        header('x-tenant-echo: ' . Scope::$tenant . ';' . ($_SERVER['HTTP_X_REQUEST_ID'] ?? ''));
    });
}

tenant_echo();
Scope::$tenant = $_SERVER['HTTP_X_TENANT_ID'] ?? '';
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/lost') {
    Scope::$tenant = 'globex';
}
header('content-type: text/plain');
echo 'orders of ' . Scope::$tenant;
