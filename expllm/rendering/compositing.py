"""Compiled loops that lay half-transparent triangles over an image, and bring it to its final size."""

import numpy as np
from numba import njit

_LEAST_ALPHA = 0.02


@njit(cache=True, fastmath=True, nogil=True)
def overlay(mesh, order, texture, tint, look, lamp, depth, image):
    """Lay half-transparent triangles over the image, from the farthest (first in `order`) to the nearest.

    Args:
        mesh: Points on the screen, triangles, their places on the texture, normals of the points.
        tint: What the texture's colour is multiplied with.
        look: Gloss; how far behind the surface a triangle may lie and still be seen; gain of the alpha.
        lamp: See `Scene.lamp`.
    """
    screen, triangles, _, _ = mesh
    height, width = depth.shape
    for n in range(order.shape[0]):
        t = order[n]
        x0, y0, z0 = screen[triangles[t, 0]]
        x1, y1, z1 = screen[triangles[t, 1]]
        x2, y2, z2 = screen[triangles[t, 2]]
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, width)
        top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, height)
        a_dx, b_dx = (y1 - y2) / area, (y2 - y0) / area
        a_dy, b_dy = (x2 - x1) / area, (x0 - x2) / area
        for y in range(top, bottom):
            for x in range(left, right):
                px, py = x + np.float32(0.5) - x2, y + np.float32(0.5) - y2
                a, b = a_dx * px + a_dy * py, b_dx * px + b_dy * py
                c = 1 - a - b
                if a >= 0 and b >= 0 and c >= 0 and a * z0 + b * z1 + c * z2 >= depth[y, x] - look[1]:
                    _lay_pixel(t, a, b, c, mesh, texture, tint, look, lamp, image[y, x])


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _lay_pixel(t, a, b, c, mesh, texture, tint, look, lamp, pixel):
    _, triangles, uv, normal = mesh
    rows, columns = texture.shape[0], texture.shape[1]
    u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
    v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
    texel = texture[min(max(int((1 - v) * rows), 0), rows - 1), min(max(int(u * columns), 0), columns - 1)]
    alpha = min(texel[3] * look[2], np.float32(1))
    if alpha >= _LEAST_ALPHA:
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        _blend(pixel, texel, alpha, tint, look[0], lamp, normal, i, j, k, a, b, c)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _blend(pixel, texel, alpha, tint, gloss, lamp, normal, i, j, k, a, b, c):
    """Light a strand from both sides, and lay it over the pixel."""
    nx = a * normal[i, 0] + b * normal[j, 0] + c * normal[k, 0]
    ny = a * normal[i, 1] + b * normal[j, 1] + c * normal[k, 1]
    nz = a * normal[i, 2] + b * normal[j, 2] + c * normal[k, 2]
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6)
    facing = abs(nx * lamp[0, 0] + ny * lamp[0, 1] + nz * lamp[0, 2]) / length
    shine = gloss * facing**12
    for channel in range(3):
        light = lamp[2, channel] * (np.float32(0.75) + np.float32(0.25) * ny / length)
        light += lamp[1, channel] * (np.float32(0.2) + np.float32(0.55) * facing + shine)
        colour = texel[channel] * tint[channel] * light
        pixel[channel] = pixel[channel] * (1 - alpha) + alpha * colour
    pixel[3] = pixel[3] * (1 - alpha) + alpha


@njit(cache=True, fastmath=True, nogil=True)
def resolve(image):
    """Average blocks of 2 x 2 pixels, each clipped to what a screen can show."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    result = np.empty((height, width, 4), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(4):
                result[y, x, c] = np.float32(0.25) * (
                    min(image[2 * y, 2 * x, c], np.float32(1))
                    + min(image[2 * y, 2 * x + 1, c], np.float32(1))
                    + min(image[2 * y + 1, 2 * x, c], np.float32(1))
                    + min(image[2 * y + 1, 2 * x + 1, c], np.float32(1))
                )
    return result
