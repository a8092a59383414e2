"""The arbiter: a pure core (core, events, actions, lifecycle, policy) in a thin shell (loop, spawn, listeners)."""
