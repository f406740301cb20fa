"""The operator: DirectoryStream resources, and what they need to run."""
