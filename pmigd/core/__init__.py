"""The decisions of pmigd, and nothing else.

Everything below this package is a pure function or frozen plain data: no asyncio, clock, I/O,
randomness, libvirt or aiohttp. Time comes in as a parameter, what is to be done goes out as an
effect. That is what lets a crash at any point be replayed from the journal and every decision be
tested without a hypervisor.
"""
