"""A stand-in for the national API that counts what it accepts and misbehaves on demand.

It is written from the API's field tables alone and shares no code with the client it tests.
"""
