"""Weight space: modules that own a frozen linear, compute the same when fresh, and merge into a plain one."""
