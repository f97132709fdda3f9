import java.io.File;
import java.net.Socket;
import java.security.KeyStore;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * TLS handshakes as a JSSE client that trusts one key store alone and insists on a name, by the rules for HTTPS.
 *
 * <p>Arguments: key store, its password, port of the server on this machine, names and addresses. Prints a line for each
 * name: its protocol, or "refused" and why.
 */
public final class Verify {
    public static void main(String[] arguments) throws Exception {
        KeyStore anchors = KeyStore.getInstance(new File(arguments[0]), arguments[1].toCharArray());
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(anchors);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        int port = Integer.parseInt(arguments[2]);
        for (int at = 3; at < arguments.length; at++) {
            System.out.println(arguments[at] + " " + outcome(context, port, arguments[at]));
        }
    }

    private static String outcome(SSLContext context, int port, String name) throws Exception {
        try (Socket plain = new Socket(name.contains(":") ? "::1" : "127.0.0.1", port);
                SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(plain, name, port, true)) {
            tls.setSoTimeout(10000);
            SSLParameters wanted = tls.getSSLParameters();
            wanted.setEndpointIdentificationAlgorithm("HTTPS");
            tls.setSSLParameters(wanted);
            tls.startHandshake();
            return tls.getSession().getProtocol();
        } catch (SSLException refusal) {
            return "refused: " + refusal.getMessage();
        }
    }
}
