"""The watched folder: a daemon that turns stems dropped in a folder into styled ones, whatever happens meanwhile."""
