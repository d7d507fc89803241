"""`gateway chat`: a conversation in a terminal."""
