"""Deploy: how it runs. The outermost ring: it imports every room and nothing imports it."""
