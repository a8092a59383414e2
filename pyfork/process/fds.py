"""Descriptors: how many there may be."""

import resource


def raise_descriptor_limit(needed: int) -> int:
    """Raise the soft RLIMIT_NOFILE to ``needed`` if it is lower, within the hard limit; children inherit it.

    Returns:
        The soft limit now in force: below ``needed`` when the hard limit is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, soft)
