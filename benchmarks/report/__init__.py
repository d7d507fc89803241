"""From rounds to a table, a page and plots."""
