"""What the integration tests stand on: the real daemon, real servers, and a way to tell what went wrong."""
