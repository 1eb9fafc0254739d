using Microsoft.Extensions.Logging;

namespace Kmsd.Tests;

/// <summary>A journal that can be read again.</summary>
internal class ListLogger : ILogger
{
    private readonly List<(LogLevel Level, string Line, Exception? Exception)> _lines = [];

    public IReadOnlyList<(LogLevel Level, string Line, Exception? Exception)> Lines
    {
        get
        {
            lock (_lines)
            {
                return [.. _lines];
            }
        }
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_lines)
        {
            _lines.Add((logLevel, formatter(state, exception), exception));
        }
    }
}

/// <summary>The same for one category.</summary>
internal sealed class ListLogger<T> : ListLogger, ILogger<T>;
