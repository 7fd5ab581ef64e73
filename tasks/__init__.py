"""The units of work. Third-party errors become Winnow's own here."""
