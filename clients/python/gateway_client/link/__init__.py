"""The session's link: dialled, kept, dialled again."""
