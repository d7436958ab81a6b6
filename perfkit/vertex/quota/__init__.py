"""The pace a project's quota allows, so that a refusal for it never comes."""
