"""Renders templates in child processes that may be killed; their CPU time, memory and output are limited."""

from connectors.rendering.pool import Rendered, Renderer, RenderLimits, has_expressions

__all__ = ["RenderLimits", "Rendered", "Renderer", "has_expressions"]
