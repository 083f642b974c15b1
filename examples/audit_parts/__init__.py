"""What the dependency audit knows about Python distributions; nothing here knows of kairos."""
