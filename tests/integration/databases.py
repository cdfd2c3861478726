"""Two databases of one range each, and what is answered from them."""

from tests.data.files import xdb
from tests.serve.http.connection import get

QUERY = get("/api/ip_query?ip=1.2.3.4")


def database(text: str, octet: int = 1) -> bytes:
    """An xdb that says this of all addresses that begin with an octet."""
    return xdb([(octet << 24, octet << 24 | 0xFFFFFF, text)])


ONE = database("中国|0|河南省|商丘市|联通")
OTHER = database("美国|0|0|0|谷歌")
ONE_ANSWER = '["中国","CN","河南省","410000","商丘市","411400","","联通"]'.encode()
OTHER_ANSWER = '["美国","US","","None","","None","","谷歌"]'.encode()
# Another city of the same country, as a guard lets through.
SECOND = database("中国|0|河南省|郑州市|联通")
SECOND_ANSWER = '["中国","CN","河南省","410000","郑州市","410100","","联通"]'.encode()
