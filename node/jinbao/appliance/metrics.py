"""The metrics of a zone: one table is the source of the registry, of the events they count, and of the docs.

Labels are bounded: neighbours, topics, reasons by error code. Never a person, a file or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jinbao import __version__
from jinbao.model.audit import Entry, Outcome, Way


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A counter moves by 1, or by the event's value `amount`, at `event`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text_en: str
    text_zh: str
    event: str = ""
    amount: str = ""


METRICS: tuple[Metric, ...] = (
    Metric("jinbao_build_info", "gauge", ("version",), "Release of this zone.", "本分区的版本。"),
    Metric("jinbao_batches_accepted_total", "counter", ("peer", "topic"), "Batches accepted.", "受理的批次数。", "batch_accepted"),
    Metric("jinbao_segment_bytes_accepted_total", "counter", ("peer", "topic"), "Bytes of accepted segments.", "受理的段字节数。", "batch_accepted", "bytes"),
    Metric("jinbao_rows_accepted_total", "counter", ("peer", "topic"), "Rows of accepted batches.", "受理的记录数。", "batch_accepted", "rows"),
    Metric("jinbao_submissions_applied_total", "counter", ("topic",), "Submissions applied.", "入库的报送数。", "submission_applied"),
    Metric("jinbao_submissions_refused_total", "counter", ("topic",), "Submissions refused.", "拒绝的报送数。", "submission_refused"),
    Metric("jinbao_submissions_overdue_total", "counter", ("topic",), "Submissions not applied here in time, signed for.", "本级逾期未入库并已签认的报送数。", "submission_overdue"),
    Metric("jinbao_receipts_missing_total", "counter", ("topic", "stage"), "Receipts that did not come in time.", "未按时收到的回执数。", "receipt_missing"),
    Metric("jinbao_streams_held_total", "counter", ("code",), "Times a stream was held.", "流被暂停的次数。", "stream_held"),
    Metric("jinbao_equivocations_total", "counter", ("kind",), "Contradictions of an origin found: equivocation, rollback, split_view, or told by a receiver.", "发现的来源自相矛盾次数：equivocation、rollback、split_view，或由接收方告知（told）。", "equivocation_found"),
    Metric("jinbao_peers_behind_total", "counter", ("peer",), "Times a relay had less of a stream than this zone.", "中转方某流少于本分区的次数。", "peer_behind"),
    Metric("jinbao_clocks_odd_total", "counter", ("peer", "direction"), "Batches accepted whose time is ahead of ours, or back before the batch they follow.", "已受理但时间超前于本机或早于前一批次的批次数。", "clock_odd"),
    Metric("jinbao_peers_refused_total", "counter", ("code",), "Callers refused.", "拒绝的来访次数。", "peer_refused"),
    Metric("jinbao_packages_refused_total", "counter", ("peer", "code"), "Damaged packages passed over.", "跳过的损坏交换包数。", "package_refused"),
    Metric("jinbao_headers_refused_total", "counter", ("peer", "code"), "Headers passed over that nobody can read.", "跳过的无法解析批头数。", "header_refused"),
    Metric("jinbao_decoders_ended_total", "counter", ("cause",), "Decoders a peer's segment ended.", "因对端数据段而终止的解码进程数。", "decoder_ended"),
    Metric("jinbao_retention_freed_bytes_total", "counter", (), "Bytes of segments nobody needed any more.", "清除的无人再需要的段字节数。", "retention_swept", "bytes"),
    Metric("jinbao_steps_failed_total", "counter", ("worker", "code"), "Rounds that failed and are retried.", "失败并将重试的轮次。", "step_failed"),
    Metric("jinbao_captures_total", "counter", (), "Capture runs finished.", "完成的采集次数。", "capture_finished"),
    Metric("jinbao_tokens_lied_total", "counter", ("source", "table"), "Rows that changed and whose token did not.", "内容已变而变更标记未变的行数。", "token_lied", "rows"),
    Metric("jinbao_trust_documents_learned_total", "counter", ("kind",), "Trust documents learned.", "获知的信任文件数。", "trust_learned"),
    Metric("jinbao_trust_documents_refused_total", "counter", ("code",), "Trust documents that proved nothing.", "无法证明的信任文件数。", "trust_refused"),
    Metric("jinbao_identities_renewed_total", "counter", (), "Times this zone took up a renewed identity.", "本分区启用新证书的次数。", "identity_renewed"),
    Metric("jinbao_renewals_failed_total", "counter", ("code",), "Times a certificate was due and could not be renewed.", "证书到期前续期失败的次数。", "renewal_failed"),
    Metric("jinbao_certificate_expires_timestamp_seconds", "gauge", (), "When the first certificate of this zone ends.", "本分区最早到期证书的到期时刻。"),
    Metric("jinbao_revocation_list_due_timestamp_seconds", "gauge", ("authority",), "When the next revocation list of an authority is due.", "发证机构下一份吊销列表的应到时刻。"),
    Metric("jinbao_authority_answered_timestamp_seconds", "gauge", ("authority",), "When an issuing authority this zone asks last told what others need to trust; 0 if it did not since this process began.", "本分区所询问的发证机构最近一次给出信任材料的时刻；本进程启动后尚无则为 0。"),
    Metric("jinbao_authority_asks_failed_total", "counter", ("authority", "code"), "Times an issuing authority was asked for newer lists and gave none that hold.", "向发证机构询问新列表而未获有效答复的次数。", "authority_ask_failed"),
    Metric("jinbao_topology_version", "gauge", (), "Version of the signed topology in force.", "生效的签名拓扑版本。"),
    Metric("jinbao_identity_epoch", "gauge", (), "Epoch of the identity this zone holds.", "本分区所持身份的纪元。"),
    Metric("jinbao_zone_superseded", "gauge", (), "1 if the identity of this zone was granted to another holder, else 0.", "本分区身份已授予其他持有者为 1，否则为 0。"),
    Metric("jinbao_audit_entries_total", "counter", ("role", "outcome"), "Audit entries recorded.", "记录的审计条目数。", "audit_recorded"),
    Metric("jinbao_audit_refused_total", "counter", ("action",), "Attempts of this host's accounts that were refused.", "本机账户被拒绝的操作次数。", "audit_refused", "count"),
    Metric("jinbao_audit_unsealed_entries", "gauge", (), "Audit entries no sealed head covers yet.", "尚未被签封覆盖的审计条目数。"),
    Metric("jinbao_streams_held", "gauge", (), "Streams that wait for a person.", "等待人工处理的流数。"),
    Metric("jinbao_journal_acts", "gauge", (), "Acts in the journal.", "流水条数。"),
    Metric("jinbao_unapplied_batches", "gauge", (), "Batches accepted and not yet applied.", "已受理未入库的批次数。"),
    Metric("jinbao_receipts_due", "gauge", (), "Receipts not yet sealed.", "待签发的回执数。"),
    Metric("jinbao_quarantine_findings", "gauge", ("library", "rule"), "Findings of the newest run.", "最近一次运行的问题数。"),
    Metric("jinbao_standby_rpo_seconds", "gauge", ("backup",), "Age of the oldest act the backup site does not have; 0 if it has all, +Inf while unknown.", "灾备尚未取得的最早一条流水的时长；全部取得为 0，未知为 +Inf。"),
    Metric("jinbao_standby_rpo_rows", "gauge", ("backup",), "Records in batches the backup site does not have; +Inf while unknown.", "灾备尚未取得的批次中的记录数；未知为 +Inf。"),
    Metric("jinbao_standby_rpo_bytes", "gauge", ("backup",), "Bytes of batches the backup site does not have; +Inf while unknown.", "灾备尚未取得的批次的字节数；未知为 +Inf。"),
    Metric("jinbao_capture_age_seconds", "gauge", (), "Seconds since the newest capture was recorded; +Inf before the first.", "距最近一次采集入流水的秒数；尚无采集时为 +Inf。"),
    Metric("jinbao_standby_epoch", "gauge", ("node",), "Epoch of a protected node as this backup site knows it.", "本灾备所知的被保护节点纪元。"),
    Metric("jinbao_standby_acts", "gauge", ("zone",), "Acts of a protected zone that are here, whole and chained.", "本灾备已完整取得的被保护分区流水条数。"),
    Metric("jinbao_standby_restorable_to_timestamp_seconds", "gauge", ("zone",), "The moment up to which a protected zone can be built again here.", "被保护分区可在此重建到的时刻。"),
    Metric("jinbao_standby_missing_segments", "gauge", ("zone",), "Segments that a rebuild of a protected zone opens and that are not here.", "重建被保护分区所需而本灾备缺失的段数。"),
    Metric("jinbao_standby_seen_age_seconds", "gauge", ("zone",), "Seconds since a protected zone last answered; +Inf before the first time.", "距被保护分区上次应答的秒数；尚未应答时为 +Inf。"),
    Metric("jinbao_backups_went_back_total", "counter", ("backup",), "Times a backup site had less of a journal than it had said.", "灾备所存流水少于其先前声明的次数。", "backup_went_back"),
    Metric("jinbao_backups_made_total", "counter", (), "Backups of this zone to a directory that came to be whole.", "本分区已完整写入目录的备份次数。", "backup_made"),
    Metric("jinbao_standby_drills_total", "counter", ("ok",), "Drills of protected nodes, by whether nothing was wrong.", "被保护节点的演练次数，按是否全部正确。", "node_drilled"),
    Metric("jinbao_standby_drills_failed_total", "counter", (), "Drills by the calendar that gave no report.", "未产生报告的定期演练次数。", "drill_failed"),
    Metric("jinbao_standby_drill_ok", "gauge", ("node",), "1 if nothing was wrong in a node's newest drill, else 0.", "节点最近一次演练全部正确为 1，否则为 0。"),
    Metric("jinbao_standby_drill_seconds", "gauge", ("node",), "Seconds a node's newest drill took, from the first file to the last answer.", "节点最近一次演练用时（秒），自第一个文件至最后一次应答。"),
    Metric("jinbao_standby_drill_success_timestamp_seconds", "gauge", ("node",), "When a drill of a node last went well; 0 if none did.", "节点最近一次演练成功的时刻；尚无为 0。"),
    Metric("jinbao_nodes_declared_total", "counter", (), "Times a protected node was declared lost here and its copies stood still.", "在此声明被保护节点失效并冻结其副本的次数。", "node_declared"),
    Metric("jinbao_identities_granted_total", "counter", (), "Identities of lost nodes this zone granted to another holder.", "本分区将失效节点的身份授予其他持有者的次数。", "identity_granted"),
    Metric("jinbao_segments_damaged_total", "counter", ("kind",), "Segments found to be missing, truncated, altered or swapped.", "发现缺失、截断、篡改或错置的段数。", "segment_damaged"),
    Metric("jinbao_segments_mended_total", "counter", (), "Damaged segments brought again from a peer.", "由对端重新取得的损坏段数。", "segment_mended"),
    Metric("jinbao_segments_damaged", "gauge", (), "Segments known to be damaged and not mended.", "已知损坏且未修复的段数。"),
    Metric("jinbao_scrub_age_seconds", "gauge", (), "Seconds since the last whole pass over all segments began; +Inf before the first.", "距最近一次完整巡检开始的秒数；尚无时为 +Inf。"),
    Metric("jinbao_database_up", "gauge", (), "1 while the zone's database answers, else 0.", "数据库可用为 1，否则为 0。"),
    Metric("jinbao_schema_steps_ahead", "gauge", (), "Schema steps of a newer release that this one runs on; 0 if none.", "本版本运行其上而未知的较新版本表结构步骤数；没有为 0。"),
    Metric("jinbao_disks_slow_total", "counter", ("place",), "Times durable writes became slow, of segments or of the database.", "持久写入变慢的次数（数据段或数据库）。", "disk_slow"),
    Metric("jinbao_disks_failed_total", "counter", (), "Times a disk failed and this process stopped writing.", "磁盘故障且本进程停止写入的次数。", "disk_failed"),
    Metric("jinbao_database_outdated_total", "counter", (), "Times a neighbour had more of this zone than it has itself.", "邻居持有的本分区数据多于本分区自身的次数。", "database_outdated"),
    Metric("jinbao_database_log_kept_total", "counter", (), "Times a long database log could not be emptied.", "数据库日志过长且无法清空的次数。", "database_log_kept"),
    Metric("jinbao_database_log_bytes", "gauge", (), "Length of the SQLite log beside the database; 0 on PostgreSQL.", "SQLite 日志文件的字节数；PostgreSQL 为 0。"),
    Metric("jinbao_log_lines_lost_total", "counter", (), "Log lines that could not be written.", "无法写出的日志行数。", "line_lost"),
    Metric("jinbao_disk_warnings_total", "counter", (), "Looks that found the disk's reserve reached within the warning time.", "发现磁盘保留空间将在预警时间内耗尽的次数。", "disk_filling"),
    Metric("jinbao_durable_write_seconds", "gauge", ("place",), "Seconds a durable write took, the median of the last 32.", "持久写入耗时（秒），最近 32 次的中位数。"),
    Metric("jinbao_disk_full_in_seconds", "gauge", (), "Seconds until the disk's reserve is reached at the pace of two days; +Inf while nothing is used up.", "按近两日速度，距磁盘保留空间耗尽的秒数；未增长时为 +Inf。"),
    Metric("jinbao_disk_free_bytes", "gauge", (), "Bytes free where segments lie.", "段目录所在磁盘的可用字节数。"),
    Metric("jinbao_disk_reserve_bytes", "gauge", (), "Bytes kept free.", "保留的磁盘字节数。"),
    Metric("jinbao_step_last_success_age_seconds", "gauge", ("worker",), "Seconds since the worker's last good round.", "该工作线程上次成功以来的秒数。"),
    Metric("jinbao_peer_clock_offset_seconds", "gauge", ("peer",), "Peer's clock minus ours at the last hello.", "对端时钟与本机之差（秒）。"),
    Metric("jinbao_line_limit_bytes_per_second", "gauge", ("peer", "direction"), "Bytes of bulk per second that the window in force allows; 0 is closed, +Inf no limit.", "当前线路时段允许的批量速率（字节/秒）；0 为停传，+Inf 为不限速。"),
    Metric("jinbao_line_limited_bytes_total", "counter", ("peer", "direction"), "Bytes of bulk that a window limited.", "受线路时段限速的批量字节数。", "line_limited", "bytes"),
    Metric("jinbao_line_waited_seconds_total", "counter", ("peer", "direction"), "Seconds bulk waited for its turn in a window.", "批量在线路时段内等待的秒数。", "line_limited", "waited_s"),
    Metric("jinbao_peer_contact_age_seconds", "gauge", ("peer", "side"), "Seconds since a neighbour last answered, or since this process began; none while it is paused.", "距相邻分区上次应答（或本进程启动）的秒数；已暂停的不列。"),
    Metric("jinbao_peer_silent_limit_seconds", "gauge", (), "`watch.silent_s`: from when on a neighbour is silent.", "`watch.silent_s`：超过即为静默。"),
    Metric("jinbao_stream_waiting_seconds", "gauge", ("topic", "receiver"), "Age of the oldest submission sealed here that a tier above said nothing of; 0 if none.", "本分区已签封而上级尚无回执的最早一次报送的时长；没有为 0。"),
    Metric("jinbao_stream_waiting_limit_seconds", "gauge", (), "`watch.waiting_s`: from when on a stream does not move.", "`watch.waiting_s`：超过即为数据流停滞。"),
    Metric("jinbao_streams_contradicted", "gauge", (), "Streams held because their origin contradicts itself.", "因来源自相矛盾而暂停的流数。"),
    Metric("jinbao_streams_mismatched", "gauge", (), "Streams held because what is stored is not what was promised.", "因入库内容与承诺摘要不符而暂停的流数。"),
    Metric("jinbao_receipts_missing", "gauge", (), "Receipts that did not come in time, and have not come since.", "逾期且至今未到的回执数。"),
    Metric("jinbao_unapplied_oldest_age_seconds", "gauge", (), "Seconds since the oldest batch was accepted that is not applied; 0 if none.", "最早一个已受理未入库批次的等待秒数；没有为 0。"),
    Metric("jinbao_unapplied_limit_seconds", "gauge", (), "`watch.unapplied_s`: from when on that is too long.", "`watch.unapplied_s`：超过即为过久。"),
    Metric("jinbao_standby_rpo_limit_seconds", "gauge", (), "`watch.rpo_s`: from when on the backup site is behind.", "`watch.rpo_s`：超过即为灾备落后。"),
    Metric("jinbao_clock_offset_limit_seconds", "gauge", (), "`watch.clock_offset_s`: from when on two clocks differ.", "`watch.clock_offset_s`：超过即为时钟不一致。"),
    Metric("jinbao_task_last_success_timestamp_seconds", "gauge", ("task",), "When scheduled work last went well; the zone's first act if it never did.", "定时任务最近一次成功的时刻；从未成功则为本分区首条流水的时刻。"),
    Metric("jinbao_task_limit_seconds", "gauge", ("task",), "After how long scheduled work is late.", "定时任务超过多久即为逾期。"),
    Metric("jinbao_standard_outdated", "gauge", ("library",), "1 if the tier above holds a newer version of the standard, else 0.", "上级持有该标准的更新版本为 1，否则为 0。"),
    Metric("jinbao_certificate_renewal_late_timestamp_seconds", "gauge", (), "When the first certificate of this zone should have been renewed: two thirds of its life.", "本分区最早一张证书应已续期的时刻：有效期的三分之二。"),
    Metric("jinbao_revocation_grace_seconds", "gauge", (), "`limits.revocation_grace_s`: how long a list is believed beyond its date.", "`limits.revocation_grace_s`：吊销列表过期后仍被采信的时长。"),
    Metric("jinbao_disk_warning_limit_seconds", "gauge", (), "`limits.disk_warning_s`: a disk that is full sooner is told of.", "`limits.disk_warning_s`：磁盘将在此时间内写满即预警。"),
    Metric("jinbao_durable_write_limit_seconds", "gauge", (), "`limits.durable_write_s`: a slower disk is told of.", "`limits.durable_write_s`：超过即为磁盘缓慢。"),
    Metric("jinbao_database_log_limit_bytes", "gauge", (), "`limits.database_log_bytes_max`: a longer log ends views.", "`limits.database_log_bytes_max`：日志超过此长度将终止查询视图。"),
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call]  # a counter's birth is of no use to an alert, and doubles the page

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels and value of a gauge when it is read."""


class Metrics(Collector):
    """A registry of `METRICS`; gauges are asked of `read` at each scrape, once the zone set it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.read: Callable[[], Iterable[Sample]] = tuple
        self._counters = {
            m.name: Counter(m.name.removesuffix("_total"), m.text_en, m.labels, registry=self.registry)
            for m in METRICS
            if m.kind == "counter"
        }
        build = Gauge("jinbao_build_info", METRICS[0].text_en, ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self.registry.register(self)

    def count(self, event: str, values: Mapping[str, Any]) -> None:
        """Move every counter of an event."""
        for metric in METRICS:
            if metric.event == event:
                counter = self._counters[metric.name]
                chosen = [str(values[label]) for label in metric.labels]
                moved = counter.labels(*chosen) if chosen else counter
                moved.inc(float(values[metric.amount]) if metric.amount else 1.0)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Gauges as they are now."""
        samples = list(self.read())
        for metric in METRICS[1:]:
            if metric.kind == "gauge":
                family = GaugeMetricFamily(metric.name, metric.text_en, labels=metric.labels)
                for name, labels, value in samples:
                    if name == metric.name:
                        family.add_metric([labels[label] for label in metric.labels], value)
                yield family

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing before the zone is up: the registry need not ask."""
        return []

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


def count_entry(metrics: Metrics, entry: Entry) -> None:
    """Move the counters an entry of the audit trail moves."""
    metrics.count("audit_recorded", {"role": "+".join(entry.roles) or "none", "outcome": entry.outcome})
    if entry.outcome is Outcome.REFUSED or (entry.outcome is Outcome.COUNTED and entry.way is not Way.LINE):
        metrics.count("audit_refused", {"action": entry.action, "count": entry.count})
