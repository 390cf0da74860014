"""What recipes are made of: representations, features, statistics, terms, solvers, renderings and guards."""
