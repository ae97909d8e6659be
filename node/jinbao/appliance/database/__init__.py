"""A zone's database as its operator sees it: is it fit, is its schema the newest, can it move to another kind.

`usable` keeps a zone from starting on a database that is none, `checking` looks at one, `upgrading` brings
its schema up, `converting` rebuilds it from the journal in another database. A running zone is asked by its
own process; a stopped one is opened under its lock.
"""
