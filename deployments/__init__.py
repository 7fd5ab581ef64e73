"""Where Winnow runs: image, compose file, automations."""
