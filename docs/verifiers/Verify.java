import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Checks the signed context that Portcullis puts into {@code x-tenant-context}.
 *
 * <p>Copy {@code verify}. As a program this checks itself: java Verify.java vectors.tsv
 */
final class Verify {
    /** What a context proves. */
    record Context(String tenant, String subject, String requestId) {}

    /**
     * What {@code context} proves, or null. {@code keys} has the secrets by their ids; {@code method}
     * and {@code target} (path and query) are the request's as it arrived; {@code now} is in seconds.
     */
    static Context verify(String context, Map<String, byte[]> keys, String method, String target, long now)
            throws GeneralSecurityException {
        int dot = context.lastIndexOf('.');
        if (context.length() > 2048 || dot < 0) return null;
        String signed = context.substring(0, dot);
        // -1 keeps empty fields at the end.
        String[] fields = signed.split("\\.", -1);
        if (fields.length != 7 || !fields[0].equals("v1")) return null;
        byte[] secret = keys.get(fields[1]);
        if (secret == null) return null;
        Base64.Encoder encoder = Base64.getUrlEncoder().withoutPadding();
        Mac hmac = Mac.getInstance("HmacSHA256");
        hmac.init(new SecretKeySpec(secret, "HmacSHA256"));
        byte[] own = encoder.encode(hmac.doFinal(signed.getBytes(StandardCharsets.UTF_8)));
        byte[] mac = context.substring(dot + 1).getBytes(StandardCharsets.UTF_8);
        if (!MessageDigest.isEqual(own, mac)) return null;
        byte[] request = (method + "\n" + target).getBytes(StandardCharsets.UTF_8);
        if (!encoder.encodeToString(MessageDigest.getInstance("SHA-256").digest(request)).equals(fields[6])) {
            return null;
        }
        if (now >= Long.parseLong(fields[2])) return null;
        return new Context(decode(fields[3]), decode(fields[4]), decode(fields[5]));
    }

    private static String decode(String text) {
        return new String(Base64.getUrlDecoder().decode(text), StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, byte[]> keys = new HashMap<>();
        int wrong = 0;
        int count = 0;
        List<String> lines = Files.readAllLines(Path.of(arguments[0]), StandardCharsets.UTF_8);
        for (String line : lines) {
            String[] part = line.split("\t", -1);
            if (part[0].equals("key")) keys.put(part[1], Base64.getDecoder().decode(part[2]));
            if (!part[0].equals("case")) continue;
            Context found = verify(part[6], keys, part[4], part[5], Long.parseLong(part[3]));
            String got =
                    found == null ? "refused" : String.join("|", found.tenant(), found.subject(), found.requestId());
            count++;
            if (!got.equals(part[2])) {
                wrong++;
                System.out.println(part[1] + ": " + got + " instead of " + part[2]);
            }
        }
        System.out.println((count - wrong) + " of " + count + " agree");
        System.exit(wrong > 0 || count == 0 ? 1 : 0);
    }
}
