"""What somebody may do in a cluster."""

from tests.cluster import Kubectl


def account(kubectl: Kubectl, name: str = "penstock-operator") -> str:
    return f"system:serviceaccount:{kubectl.namespace}:{name}"


def may(kubectl: Kubectl, who: str, verb: str, what: str, *options: str) -> bool:
    """Whether someone may do this in kubectl's namespace; `what` as in RBAC, with its group."""
    what, _, subresource = what.partition("/")
    sub = [f"--subresource={subresource}"] if subresource else []
    answer = kubectl("auth", "can-i", verb, what, *sub, "--as", who, *options)
    assert answer.out.strip() in ("yes", "no"), answer.err
    return answer.out.strip() == "yes"
