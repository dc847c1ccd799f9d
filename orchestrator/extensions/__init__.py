"""Files and packages of a user's own that add methods: how they are found, identified, imported and sent to workers."""
