"""The web frame: sign-in, sessions, CSRF, row-level security and the page layout every room shares."""
