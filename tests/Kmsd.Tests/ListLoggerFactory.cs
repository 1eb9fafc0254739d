using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Kmsd.Tests;

/// <summary>Journals that can be read again, one for each category.</summary>
internal sealed class ListLoggerFactory : ILoggerFactory
{
    private readonly ConcurrentDictionary<string, ListLogger> _loggers = new();

    public ListLogger Of<T>() => _loggers.GetOrAdd(typeof(T).FullName ?? typeof(T).Name, _ => new ListLogger());

    public ILogger CreateLogger(string categoryName) => _loggers.GetOrAdd(categoryName, _ => new ListLogger());

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public void Dispose()
    {
    }
}
