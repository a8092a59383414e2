"""The worker types: how each waits and runs a connection; ``base`` owns boot, heartbeat, drain and exit."""
