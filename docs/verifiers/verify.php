<?php
// Checks the signed context that Portcullis puts into `x-tenant-context`.
//
// Copy `verify`. As a program this checks itself: php verify.php vectors.tsv

declare(strict_types=1);

/**
 * The [tenant, subject, request id] that $context proves, or null. $keys has the secrets by their
 * ids; $method and $target (path and query) are the request's as it arrived.
 */
function verify(string $context, array $keys, string $method, string $target, ?int $now = null): ?array
{
    $dot = strrpos($context, '.');
    if (strlen($context) > 2048 || $dot === false) {
        return null;
    }
    $signed = substr($context, 0, $dot);
    $fields = explode('.', $signed);
    if (count($fields) !== 7 || $fields[0] !== 'v1') {
        return null;
    }
    [, $key, $expires, $tenant, $subject, $requestId, $bound] = $fields;
    if (!array_key_exists($key, $keys)) {
        return null;
    }
    $encode = fn (string $bytes): string => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    if (!hash_equals($encode(hash_hmac('sha256', $signed, $keys[$key], true)), substr($context, $dot + 1))) {
        return null;
    }
    if ($bound !== $encode(hash('sha256', "$method\n$target", true))) {
        return null;
    }
    if (($now ?? time()) >= (int) $expires) {
        return null;
    }
    return array_map(fn (string $text): string => base64_decode(strtr($text, '-_', '+/')), [$tenant, $subject, $requestId]);
}

if (realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    [$keys, $wrong, $count] = [[], 0, 0];
    foreach (explode("\n", file_get_contents($argv[1])) as $line) {
        $part = explode("\t", $line);
        if ($part[0] === 'key') {
            $keys[$part[1]] = base64_decode($part[2]);
        }
        if ($part[0] !== 'case') {
            continue;
        }
        $found = verify($part[6], $keys, $part[4], $part[5], (int) $part[3]);
        $got = $found === null ? 'refused' : implode('|', $found);
        $count++;
        if ($got !== $part[2]) {
            $wrong++;
            echo "$part[1]: $got instead of $part[2]\n";
        }
    }
    echo $count - $wrong, " of $count agree\n";
    exit($wrong > 0 || $count === 0 ? 1 : 0);
}
