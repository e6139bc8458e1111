use minijinja::machinery::Span;
use minijinja::machinery::ast::{
    AutoEscape, BinOp, BinOpKind, Break, Call, CallArg, CallBlock, Compare, CompareOp, Const,
    Continue, Do, EmitExpr, EmitRaw, Expr, Filter, FilterBlock, ForLoop, GetAttr, GetItem, IfCond,
    IfExpr, List, Macro, Map, Set, SetBlock, Slice, Spanned, Stmt, Template, Test, Tuple, UnaryOp,
    UnaryOpKind, Var, WithBlock,
};
use minijinja::{Error, ErrorKind};

use super::bounds::{BOUNDED, STORABLE};

/// Puts a call of [`BOUNDED`] around every expression that can make a value larger than those it is made of or that takes
/// time in proportion to the size of a value, and of [`STORABLE`] around what is assigned to an attribute.
///
/// Statements that load other templates are refused: a chat template stands alone.
pub(crate) fn with_bounds<'a>(statement: &Stmt<'a>) -> Result<Stmt<'a>, Error> {
    Ok(match statement {
        Stmt::Template(node) => Stmt::Template(Spanned::new(
            Template {
                children: body(&node.children)?,
            },
            node.span(),
        )),
        Stmt::EmitExpr(node) => Stmt::EmitExpr(Spanned::new(
            EmitExpr {
                expr: emitted(&node.expr),
            },
            node.span(),
        )),
        Stmt::EmitRaw(node) => Stmt::EmitRaw(Spanned::new(EmitRaw { raw: node.raw }, node.span())),
        Stmt::ForLoop(node) => Stmt::ForLoop(Spanned::new(
            ForLoop {
                target: target(&node.target),
                iter: bounded(&node.iter),
                filter_expr: node.filter_expr.as_ref().map(bounded),
                recursive: node.recursive,
                body: body(&node.body)?,
                else_body: body(&node.else_body)?,
            },
            node.span(),
        )),
        Stmt::IfCond(node) => Stmt::IfCond(Spanned::new(
            IfCond {
                expr: bounded(&node.expr),
                true_body: body(&node.true_body)?,
                false_body: body(&node.false_body)?,
            },
            node.span(),
        )),
        Stmt::WithBlock(node) => Stmt::WithBlock(Spanned::new(
            WithBlock {
                assignments: node
                    .assignments
                    .iter()
                    .map(|(name, value)| (target(name), bounded(value)))
                    .collect(),
                body: body(&node.body)?,
            },
            node.span(),
        )),
        Stmt::Set(node) => Stmt::Set(Spanned::new(set(node), node.span())),
        Stmt::SetBlock(node) => Stmt::SetBlock(Spanned::new(
            SetBlock {
                target: target(&node.target),
                filter: node.filter.as_ref().map(unbounded),
                body: body(&node.body)?,
            },
            node.span(),
        )),
        Stmt::AutoEscape(node) => Stmt::AutoEscape(Spanned::new(
            AutoEscape {
                enabled: bounded(&node.enabled),
                body: body(&node.body)?,
            },
            node.span(),
        )),
        Stmt::FilterBlock(node) => Stmt::FilterBlock(Spanned::new(
            FilterBlock {
                filter: unbounded(&node.filter),
                filter_span: node.filter_span,
                body: body(&node.body)?,
            },
            node.span(),
        )),
        Stmt::Macro(node) => Stmt::Macro(declaration(node)?),
        Stmt::CallBlock(node) => Stmt::CallBlock(Spanned::new(
            CallBlock {
                call: call(&node.call),
                call_expr_span: node.call_expr_span,
                macro_decl: declaration(&node.macro_decl)?,
            },
            node.span(),
        )),
        Stmt::Continue(node) => Stmt::Continue(Spanned::new(Continue, node.span())),
        Stmt::Break(node) => Stmt::Break(Spanned::new(Break, node.span())),
        Stmt::Do(node) => Stmt::Do(Spanned::new(
            Do {
                call: call(&node.call),
            },
            node.span(),
        )),
        Stmt::Block(_)
        | Stmt::Import(_)
        | Stmt::FromImport(_)
        | Stmt::Extends(_)
        | Stmt::Include(_) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "a chat template cannot extend, include or import other templates",
            ));
        }
    })
}

fn body<'a>(statements: &[Stmt<'a>]) -> Result<Vec<Stmt<'a>>, Error> {
    statements.iter().map(with_bounds).collect()
}

fn declaration<'a>(node: &Spanned<Macro<'a>>) -> Result<Spanned<Macro<'a>>, Error> {
    let declared = Macro {
        name: node.name,
        args: node.args.iter().map(target).collect(),
        defaults: node.defaults.iter().map(bounded).collect(),
        body: body(&node.body)?,
    };
    Ok(Spanned::new(declared, node.span()))
}

fn set<'a>(node: &Set<'a>) -> Set<'a> {
    let value = unbounded(&node.expr);
    Set {
        target: target(&node.target),
        expr: match node.target {
            Expr::GetAttr(_) => call_of(STORABLE, value, node.expr.span()),
            _ if can_grow(&node.expr) => call_of(BOUNDED, value, node.expr.span()),
            _ => value,
        },
    }
}

/// The left side of an assignment: no value, so nothing to bound.
fn target<'a>(expression: &Expr<'a>) -> Expr<'a> {
    unbounded(expression)
}

/// An expression whose value is written out. The compiler treats a call there in ways of its own (`loop(...)`,
/// `super()`), so the call stays at the top; its result goes nowhere else.
fn emitted<'a>(expression: &Expr<'a>) -> Expr<'a> {
    match expression {
        Expr::Call(_) => unbounded(expression),
        _ => bounded(expression),
    }
}

fn bounded<'a>(expression: &Expr<'a>) -> Expr<'a> {
    let rebuilt = unbounded(expression);
    if can_grow(expression) {
        call_of(BOUNDED, rebuilt, expression.span())
    } else {
        rebuilt
    }
}

fn can_grow(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::BinOp(node) => !matches!(
            node.op,
            BinOpKind::ScAnd
                | BinOpKind::ScOr
                | BinOpKind::Sub
                | BinOpKind::Div
                | BinOpKind::FloorDiv
                | BinOpKind::Rem
        ),
        Expr::Compare(_)
        | Expr::Filter(_)
        | Expr::Test(_)
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Tuple(_)
        | Expr::Map(_) => true,
        Expr::Var(_)
        | Expr::Const(_)
        | Expr::Slice(_)
        | Expr::UnaryOp(_)
        | Expr::IfExpr(_)
        | Expr::GetAttr(_)
        | Expr::GetItem(_) => false,
    }
}

fn call_of<'a>(function: &'static str, argument: Expr<'a>, span: Span) -> Expr<'a> {
    Expr::Call(Spanned::new(
        Call {
            expr: Expr::Var(Spanned::new(Var { id: function }, span)),
            args: vec![CallArg::Pos(argument)],
        },
        span,
    ))
}

/// Rebuilds an expression with bounds on everything within it.
fn unbounded<'a>(expression: &Expr<'a>) -> Expr<'a> {
    let span = expression.span();
    match expression {
        Expr::Var(node) => Expr::Var(Spanned::new(Var { id: node.id }, span)),
        Expr::Const(node) => {
            let value = node.value.clone();
            Expr::Const(Spanned::new(Const { value }, span))
        }
        Expr::Slice(node) => Expr::Slice(Spanned::new(
            Slice {
                expr: bounded(&node.expr),
                start: node.start.as_ref().map(bounded),
                stop: node.stop.as_ref().map(bounded),
                step: node.step.as_ref().map(bounded),
            },
            span,
        )),
        Expr::UnaryOp(node) => Expr::UnaryOp(Spanned::new(unary(node), span)),
        Expr::BinOp(node) => Expr::BinOp(Spanned::new(
            BinOp {
                op: node.op,
                left: bounded(&node.left),
                right: bounded(&node.right),
            },
            span,
        )),
        Expr::Compare(node) => Expr::Compare(Spanned::new(compare(node), span)),
        Expr::IfExpr(node) => Expr::IfExpr(Spanned::new(
            IfExpr {
                test_expr: bounded(&node.test_expr),
                true_expr: bounded(&node.true_expr),
                false_expr: node.false_expr.as_ref().map(bounded),
            },
            span,
        )),
        Expr::Filter(node) => Expr::Filter(Spanned::new(
            Filter {
                name: node.name,
                expr: node.expr.as_ref().map(bounded),
                args: arguments(&node.args),
            },
            span,
        )),
        Expr::Test(node) => Expr::Test(Spanned::new(
            Test {
                name: node.name,
                expr: bounded(&node.expr),
                args: arguments(&node.args),
            },
            span,
        )),
        Expr::GetAttr(node) => Expr::GetAttr(Spanned::new(get_attr(node), span)),
        Expr::GetItem(node) => Expr::GetItem(Spanned::new(
            GetItem {
                expr: bounded(&node.expr),
                subscript_expr: bounded(&node.subscript_expr),
            },
            span,
        )),
        Expr::Call(node) => Expr::Call(call(node)),
        Expr::List(node) => Expr::List(Spanned::new(
            List {
                items: all_bounded(&node.items),
            },
            span,
        )),
        Expr::Tuple(node) => Expr::Tuple(Spanned::new(
            Tuple {
                items: all_bounded(&node.items),
            },
            span,
        )),
        Expr::Map(node) => Expr::Map(Spanned::new(
            Map {
                keys: all_bounded(&node.keys),
                values: all_bounded(&node.values),
            },
            span,
        )),
    }
}

fn unary<'a>(node: &UnaryOp<'a>) -> UnaryOp<'a> {
    UnaryOp {
        op: match node.op {
            UnaryOpKind::Not => UnaryOpKind::Not,
            UnaryOpKind::Neg => UnaryOpKind::Neg,
        },
        expr: bounded(&node.expr),
    }
}

fn compare<'a>(node: &Compare<'a>) -> Compare<'a> {
    let operand = |operand: &CompareOp<'a>| CompareOp {
        op: operand.op,
        expr: bounded(&operand.expr),
    };
    Compare {
        expr: bounded(&node.expr),
        ops: node.ops.iter().map(operand).collect(),
    }
}

fn get_attr<'a>(node: &GetAttr<'a>) -> GetAttr<'a> {
    GetAttr {
        expr: bounded(&node.expr),
        name: node.name,
    }
}

fn call<'a>(node: &Spanned<Call<'a>>) -> Spanned<Call<'a>> {
    let rebuilt = Call {
        // What is called stays as it is but for its own parts: the compiler tells methods from functions by its form.
        expr: unbounded(&node.expr),
        args: arguments(&node.args),
    };
    Spanned::new(rebuilt, node.span())
}

fn arguments<'a>(arguments: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    arguments
        .iter()
        .map(|argument| match argument {
            CallArg::Pos(value) => CallArg::Pos(bounded(value)),
            CallArg::Kwarg(name, value) => CallArg::Kwarg(name, bounded(value)),
            CallArg::PosSplat(value) => CallArg::PosSplat(bounded(value)),
            CallArg::KwargSplat(value) => CallArg::KwargSplat(bounded(value)),
        })
        .collect()
}

fn all_bounded<'a>(expressions: &[Expr<'a>]) -> Vec<Expr<'a>> {
    expressions.iter().map(bounded).collect()
}
