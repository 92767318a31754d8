//! Who may log in: passwords, tokens, throttles, and the port for an application's own accounts.
