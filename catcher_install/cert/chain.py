"""Check that certificates are a chain: each is issued by the next, which may do so. OpenSSL checks the signatures."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .x509 import X509

ANY_POLICY = "2.5.29.32.0"


def chain_problem(chain: "Sequence[X509]") -> str:
    """Return why clients refuse certificates as a chain, as the end of a sentence; "" if they accept it.

    Each certificate must have been issued by the next one, as far as names and rights tell. Each must be signed with a
    digest that clients accept, the last one, too, whose issuer is not in the chain.
    """
    for number in range(1, len(chain)):
        child, issuer = chain[number - 1], chain[number]
        which = "certificate %d" % (number + 1)
        if child.issuer_plain != issuer.subject_plain:
            return "certificate %d was not issued by %s" % (number, which)
        if not issuer.ca:
            return "%s is not a CA, so it cannot sign certificate %d" % (which, number)
        if not issuer.signs_certificates:
            return "%s may not sign certificates: its key usage has no keyCertSign" % which
        # The CAs between the two. A CA that issued itself a certificate does not count (RFC 5280, 4.2.1.9).
        below = sum(1 for one in chain[1:number] if one.subject_plain != one.issuer_plain)
        if issuer.path_length is not None and below > issuer.path_length:
            return "%s allows only %d CAs below itself (pathLen), and there are %d" % (
                which, issuer.path_length, below)
    unread = unread_problem(chain)
    if unread:
        return unread
    for number, one in enumerate(chain, 1):
        # A client that trusts a self-issued certificate does not look at its signature.
        if one.weak and one.issuer_plain != one.subject_plain:
            return "certificate %d is signed with %s, which clients no longer accept" % (number, one.weak)
    return _policy_problem(chain)


def unread_problem(chain: "Sequence[X509]") -> str:
    """Return why Java, and so a TKE, does not read one of the certificates, as the end of a sentence; "" if it does.

    OpenSSL reads each of them.
    """
    for number, one in enumerate(chain, 1):
        # RFC 5280, 4.1.2.4 and 4.1.2.6. OpenSSL checks that only in its strict mode.
        if not one.issuer or not (one.subject or one.critical_names):
            lacks = "subject, and its names are not marked as critical" if one.issuer else "issuer"
            return "certificate %d has no %s, so that Java does not read it" % (number, lacks)
        if one.unread:
            return "certificate %d has %s, so that Java does not read it" % (number, one.unread)
    return ""


def _policy_problem(chain: "Sequence[X509]") -> str:
    """Return why a client refuses a chain because of certificate policies, as the end of a sentence; "" if it does not.

    RFC 5280, 6.1, for a client that accepts any policy, such as Java. OpenSSL does not check policies, or with
    X509_V_FLAG_POLICY_CHECK accepts only those that were named to it. A chain that maps policies is not judged.
    """
    if any(one.maps_policies for one in chain):
        return ""
    # A client uses only the name and the key of its trust anchor.
    anchored = len(chain) > 1 and chain[-1].issuer_plain == chain[-1].subject_plain
    valid = {ANY_POLICY}
    free = len(chain) + 1
    demands = 0
    for number in range(len(chain) - anchored, 0, -1):
        one = chain[number - 1]
        own = set(one.policies or [])
        if ANY_POLICY in valid:
            valid = own
        elif ANY_POLICY not in own:
            valid = valid & own
        if one.subject_plain != one.issuer_plain or number == 1:
            free = max(0, free - 1)
        # The server's own certificate may demand a policy of itself, but only with the value 0.
        if one.explicit_policy is not None and one.explicit_policy < free and (number > 1 or not one.explicit_policy):
            free, demands = one.explicit_policy, number
        if not valid and not free:
            return "certificate %d demands a policy (requireExplicitPolicy), and none of the chain counts" % demands
    return ""
