"""What the tables say, in Chinese. English is what it is said by."""

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

_CHINESE: Mapping[str, str] = {
    # Measured
    "measured": "实测项",
    "median": "中位数",
    "longest": "最长",
    "processor time of a look-up, asked directly": "一次查询的 CPU 时间，直连",
    "the same behind nginx": "一次查询的 CPU 时间，经 nginx",
    "what nginx takes to pass it on": "nginx 转发一次的 CPU 时间",
    "one worker at most, requests/s": "单个工作进程的上限，次/秒",
    "request and answer, bytes": "请求加响应，字节",
    "snapshot, MB": "快照，MB",
    "from a start to the first answer": "从启动到第一次应答",
    "a worker dies: until the next answer": "工作进程被杀到下一次应答",
    "reload with another snapshot": "换快照的热加载",
    # Load
    "load, %": "负载，%",
    "p50, measured": "p50（实测）",
    "p99, measured": "p99（实测）",
    "p50, simulated": "p50（仿真）",
    "p99, simulated": "p99（仿真）",
    "planned load, %": "平时负载，%",
    "with a rack lost, of {racks}, %": "掉一个机架后（共 {racks} 个），%",
    "p99 then, simulated": "此时 p99（仿真）",
    "refused or late, %": "被拒或超时，%",
    # Costs
    "requests/s": "次/秒",
    "in front": "前端",
    "balancer or anycast": "四层负载均衡或 anycast",
    "busy cores": "实际占用核数",
    "nodes of {cores} cores": "{cores} 核节点数",
    "nginx hosts of {cores} cores": "{cores} 核 nginx 机器数",
    "cores": "总核数",
    "a month, {price:g} {currency} a core": "每月，按每核 {price:g} {currency}",
    "a billion, {currency}": "每十亿次，{currency}",
    "price": "价格",
    "a core, a month": "每核每月",
    "cloud, by the hour": "公有云按量付费",
    "cloud, for three years": "公有云三年预留",
    "own hosts, with power and place": "自有服务器（含电费、机位）",
    "cloud in China, by the month": "国内公有云包月",
    # Outages
    "failed, % of a minute": "失败，占一分钟的 %",
    "waited, %": "等待，%",
    "longest wait": "最长等待",
    "cloud load balancer": "云负载均衡",
    "anycast, BFD": "anycast，有 BFD",
    "anycast, BGP alone": "anycast，只靠 BGP",
    "DNS, TTL 60 s": "DNS，TTL 60 秒",
    # Roll-outs
    "a bad snapshot": "坏快照",
    "refused by the guard, or damaged": "被把关拒绝，或文件损坏",
    "not refused: all nodes as they ask": "未被拒绝：各节点到点就取",
    "not refused: a canary first": "未被拒绝：先灰度一个节点",
    "wrong answers, % of a day": "错误应答，占一天的 %",
    "of the unluckiest twentieth": "最差的 5% 里至少",
    "gets to all nodes, %": "扩散到全部节点，%",
    "lasts": "持续",
    # Growth
    "pods at {target:.0f} %": "按 {target:.0f}% 算的 Pod 数",
    "the same number in each of {racks} zones": "{racks} 个可用区平均分布",
    "load grows": "流量增长",
    "{times}-fold at once": "瞬间到 {times} 倍",
    "{times}-fold in {minutes} min": "{minutes} 分钟内到 {times} 倍",
    "pods before": "之前的 Pod 数",
    "pods in the end": "最后的 Pod 数",
    "highest load, %": "最高负载，%",
    "seconds at 100 %": "满载秒数",
    "late or failed, %": "超时或失败，%",
    # Spreading
    "snapshot from": "快照来源",
    "{nodes} nodes": "{nodes} 个节点",
    "one node": "一个节点",
    "a node in each of 3 racks": "三个机架各一个节点",
    "object storage": "对象存储",
}


def said(language: Language, text: str, **filled: object) -> str:
    """A text in a language, with what stands in braces filled in.

    What isn't known in Chinese, as a name that somebody else has given, stays as it is.
    """
    return (_CHINESE.get(text, text) if language == "zh" else text).format(**filled)
