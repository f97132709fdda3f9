"""Keys and certificates. The only package that imports ``cryptography``, and only when it is called."""
