"""The words printed on documents, in English and Chinese, and how each language writes money, numbers and days."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from schemas.money import minor_unit_digits

LABELS = {
    "en": {
        "invoice": "Invoice",
        "credit": "Credit invoice",
        "number": "Invoice number",
        "issued": "Issue date",
        "due": "Due date",
        "period": "Billing period",
        "account": "Account",
        "from": "From",
        "to": "Bill to",
        "tax_id": "Tax ID",
        "description": "Description",
        "service_period": "Service period",
        "quantity": "Quantity",
        "net": "Net",
        "tax_rate": "Tax",
        "subtotal": "Subtotal",
        "tax": "Tax",
        "total": "Total due",
        "by": "payable by {day}",
        "credit_total": "Total in your favour",
        "before_balance": "Total",
        "paid": "Paid from your balance",
        "given_back": "Given back to your balance",
        "amount_due": "Amount due",
        "settled": "nothing to pay",
        "in_favour": "In your favour",
        "tax_class": "Tax class",
        "rate": "Rate",
        "taxable": "Net amount",
        "tax_amount": "Tax amount",
        "payment": "Payment",
        "reference": "Please quote the invoice number {number} with your payment.",
        "late": "Late usage",
        "late_note": "Usage of an earlier period that reached us after the invoice of that period; priced as in that period.",
        "adjustment": "Adjustment",
        "adjustment_note": "Correction of what was invoiced before.",
        "page": "Page {page} of {pages}",
        "licence": "licences",
        "licence_days": "licence days",
        "colon": ": ",
    },
    "zh": {
        "invoice": "账单",
        "credit": "贷项账单",
        "number": "账单编号",
        "issued": "出账日期",
        "due": "付款截止日",
        "period": "账期",
        "account": "客户账号",
        "from": "开票方",
        "to": "客户",
        "tax_id": "纳税人识别号",
        "description": "项目",
        "service_period": "服务期间",
        "quantity": "数量",
        "net": "不含税金额",
        "tax_rate": "税率",
        "subtotal": "不含税合计",
        "tax": "税额",
        "total": "应付总额",
        "by": "请于 {day} 前付款",
        "credit_total": "应退总额",
        "before_balance": "价税合计",
        "paid": "余额已支付",
        "given_back": "已退回余额",
        "amount_due": "应付金额",
        "settled": "无需付款",
        "in_favour": "应退金额",
        "tax_class": "税目",
        "rate": "税率",
        "taxable": "不含税金额",
        "tax_amount": "税额",
        "payment": "付款信息",
        "reference": "付款时请注明账单编号 {number}。",
        "late": "迟到用量",
        "late_note": "该用量属于以前账期，在该账期出账后到达，按其所属账期的价格计费。",
        "adjustment": "调整",
        "adjustment_note": "对已出账金额的更正。",
        "page": "第 {page} 页，共 {pages} 页",
        "licence": "个许可",
        "licence_days": "许可·天",
        "colon": "：",
    },
}
"""Language -> key -> words. Both languages have the same keys."""

LOCALES = {"en": "en", "zh": "zh_CN"}

_NUMBER = "#,##0.##################"


def write_amount(amount: Decimal, currency: str, language: str) -> str:
    """Money without its currency, with all its decimals: 1,234.50."""
    pattern = "#,##0." + "0" * digits if (digits := minor_unit_digits(currency)) else "#,##0"
    return _minus(format_decimal(amount, pattern, locale=LOCALES[language]))


def write_money(amount: Decimal, currency: str, language: str) -> str:
    """Money with its currency: CNY 1,234.50 in English, ¥1,234.50 in Chinese."""
    pattern = "¤¤\u00a0#,##0.00" if language == "en" else None
    return _minus(format_currency(amount, currency, pattern, locale=LOCALES[language]))


def write_number(number: Decimal, language: str) -> str:
    """A number with as many decimals as it has."""
    return _minus(format_decimal(number, _NUMBER, locale=LOCALES[language]))


def write_percent(rate: Decimal, language: str) -> str:
    """0.06 as 6%."""
    return _minus(format_percent(rate, "#,##0.########%", locale=LOCALES[language]))


def write_day(day: date, language: str) -> str:
    """1 Oct 2026, or 2026年10月1日."""
    return format_date(day, "d MMM y" if language == "en" else "y年M月d日", locale=LOCALES[language])


def write_days(first: date, last: date, language: str) -> str:
    """A stretch of days, both included, as short as it can be said: 1 – 31 Oct 2026."""
    if first == last:
        return write_day(first, language)
    if language == "zh":
        short = "d日" if (first.year, first.month) == (last.year, last.month) else "M月d日" if first.year == last.year else None
        end = format_date(last, short, locale="zh_CN") if short else write_day(last, language)
        return f"{write_day(first, language)}–{end}"
    short = "d" if (first.year, first.month) == (last.year, last.month) else "d MMM" if first.year == last.year else None
    start = format_date(first, short, locale="en") if short else write_day(first, language)
    return f"{start} – {write_day(last, language)}"


def _minus(text: str) -> str:
    """A true minus sign, as wide as a digit in tables."""
    return text.replace("-", "−")
