"""The server: a HUB-compatible API over SQLite and a folder of files, and a page to look at it.

``database`` and ``blobs`` store; ``tokens``, ``records`` and ``limits`` know the rules; ``api`` speaks the wire format,
``webhooks`` that of the platform plugin; ``pages`` shows what is there; ``app`` puts it together.
"""
