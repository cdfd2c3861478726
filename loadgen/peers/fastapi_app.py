"""FastAPI under uvicorn."""

from fastapi import FastAPI, HTTPException

from loadgen.peers.records import answer, open_database

app = FastAPI()
_db = open_database()


@app.get("/api/ip_query")
async def ip_query(ip: str) -> list[str]:
    """Answer a look-up."""
    try:
        found = answer(_db, ip)
    except ValueError:
        raise HTTPException(400) from None
    if found is None:
        raise HTTPException(501)
    return found
