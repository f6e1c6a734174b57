"""A name server on loopback, for tests: answers what it is told to, by UDP and TCP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.served import served

__all__ = ["answering", "zone"]

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]


def zone(records: dict[tuple[str, str], list[str]], *, ttl: int = 30) -> Answer:
    """Answer from records by name and type; a name without any does not exist."""

    def answer(question: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(question, recursion_available=True)
        name, kind = str(question.question[0].name), question.question[0].rdtype.name
        for _hop in range(9):
            if (alias := records.get((name, "CNAME"))) is None:
                break
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "CNAME", *alias))
            name = alias[0]
        if found := records.get((name, kind)):
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, *found))
        elif not any(one == name for one, _kind in records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply

    return answer


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._answer(dns.message.from_wire(data))
        if isinstance(reply, dns.message.Message):
            wire = reply.to_wire(max_size=65535)
            if len(wire) > 512 and not reply.flags & dns.flags.TC:
                short = dns.message.make_response(dns.message.from_wire(data))
                short.flags |= dns.flags.TC
                wire = short.to_wire()
            reply = wire
        if reply is not None:
            self._transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """Run it; yields its port. What does not fit into 512 bytes is cut, and had by TCP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        reply = answer(dns.message.from_wire(await reader.readexactly(size)))
        if isinstance(reply, dns.message.Message):
            wire = reply.to_wire(max_size=65535)
            writer.write(len(wire).to_bytes(2) + wire)
            await writer.drain()

    async with served(serve) as port:
        transport, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(answer), local_addr=("127.0.0.1", port)
        )
        try:
            yield port
        finally:
            transport.close()
