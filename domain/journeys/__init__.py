"""The journey language: its document, its checks, and the interpreter that walks it without doing I/O."""
