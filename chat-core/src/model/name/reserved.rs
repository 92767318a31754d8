//! Names that users can choose neither for themselves nor for groups.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::canonical::Skeleton;

/// Names that only an operator can assign to users and groups. People could take them for the
/// server, one of its operators, a role, a mention or a word for themselves, and programs for a
/// missing name or another value that is no name. Names that look like a reserved name (see
/// [`Skeleton`]) are reserved too.
pub(super) const RESERVED_NAMES: &[&str] = &[
    // the server, its programs, its operators, their addresses and roles
    "admin",
    "administrator",
    "root",
    "system",
    "server",
    "operator",
    "owner",
    "moderator",
    "mod",
    "staff",
    "official",
    "support",
    "help",
    "helpdesk",
    "security",
    "abuse",
    "postmaster",
    "webmaster",
    "hostmaster",
    "info",
    "service",
    "chat",
    "chat-server",
    "chat-client",
    "bot",
    "notice",
    "notices",
    "notification",
    // mentions, and words for members or for the reader
    "all",
    "everyone",
    "everybody",
    "here",
    "channel",
    "online",
    "group",
    "members",
    "admins",
    "me",
    "self",
    "you",
    // what programs print for a missing name, or read as a value that is no name
    "anonymous",
    "guest",
    "nobody",
    "none",
    "null",
    "nil",
    "undefined",
    "unknown",
    "deleted",
    "nan",
    "true",
    "false",
    // 中文
    "管理员",
    "管理員",
    "系统管理员",
    "超级管理员",
    "系统",
    "系統",
    "系统消息",
    "系统通知",
    "服务器",
    "伺服器",
    "客服",
    "官方",
    "官方客服",
    "版主",
    "群主",
    "所有人",
    "全体成员",
    "全體成員",
    "大家",
    "在线",
    "通知",
    "公告",
    "机器人",
    "匿名",
    "游客",
    "访客",
    "未知",
    "已注销",
    // 日本語, 한국어, русский
    "管理者",
    "運営",
    "システム",
    "全員",
    "관리자",
    "시스템",
    "운영자",
    "админ",
    "администратор",
    "система",
    "поддержка",
    "модератор",
];

/// Returns whether a name with this skeleton is a reserved name or looks like one.
pub(super) fn is_reserved(skeleton: &Skeleton) -> bool {
    static SKELETONS: LazyLock<HashSet<Skeleton>> =
        LazyLock::new(|| RESERVED_NAMES.iter().map(|name| Skeleton::of(name)).collect());
    SKELETONS.contains(skeleton)
}
