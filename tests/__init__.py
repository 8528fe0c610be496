"""The tests. A package, because lava-nc installs a package of this name that would hide it."""
